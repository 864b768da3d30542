/* Suggestions for unknown keys: a key of that name in another section, what other programs' key of
 * that name is called here (a table), or the nearest name. Case, underscores and dashes make no
 * difference: batchSize, batch-size and BATCH_SIZE are one word. */
#include "config_schema.h"

#include <ctype.h>
#include <string.h>

#include "micromet/base/size.h"
#include "micromet/base/text.h"

enum { WORD_MAX = 64 };

/* How PyTorch, Lightning, MONAI, Hydra, Keras and timm call things, without their sections, and
 * the key here; a sentence in place of a key says why there is none. */
static const struct {
    const char *words; /* as squeeze() leaves them, between spaces */
    const char *meant; /* after "did you mean ", or a sentence that begins with a capital */
} synonyms[] = {
    { " lr initiallr baselr learningrates initlr ", "optimizer.learning_rate" },
    { " batchsize bs trainbatchsize minibatch samplesperbatch perdevicetrainbatchsize imsperbatch "
      "batchsizepergpu ",
      "train.batch" },
    { " nepochs numepochs maxepochs maxepoch nbepoch nbepochs numtrainepochs totalepochs maxiter "
      "maxsteps maxiters ",
      "train.epochs" },
    { " stepsperepoch samplesperepoch epochsize limittrainbatches iterationsperepoch ",
      "train.examples_per_epoch (in windows)" },
    { " numworkers workers nworkers loaderworkers dataloadernumworkers cachenumworkers ",
      "data.reader_threads" },
    { " prefetch prefetchfactor buffersize queuesize ", "data.ring (in batches)" },
    { " wd l2 l2reg decayrate weightdecayrate ", "optimizer.weight_decay" },
    { " betas ", "optimizer.beta1 and optimizer.beta2" },
    { " beta adambeta ", "optimizer.beta1 or optimizer.beta2" },
    { " eps optepsilon adamepsilon ", "optimizer.epsilon" },
    { " rho alpha ", "optimizer.decay" },
    { " opt optim solver optimizertype ", "optimizer.name" },
    { " scheduler lrscheduler lrschedule lrpolicy sched ", "schedule.name" },
    { " gamma lrdecay decayfactor lrgamma lrfactor ", "schedule.factor" },
    { " minlr lrmin etamin endlr ", "schedule.min" },
    { " warmup warmupsteps warmupepochs numwarmupsteps warmuplr ",
      "schedule.warmup_examples (in windows)" },
    { " decaysteps decayepochs stepsize milestones ", "schedule.decay_examples (in windows)" },
    { " earlystopping earlystoppingpatience esp ", "train.early_stop.patience" },
    { " delta earlystoppingdelta ", "train.early_stop.min_delta" },
    { " pretrained pretrainedweights pretrainedpath weightspath checkpoint checkpointpath ckpt "
      "ckptpath initweights initcheckpoint loadfrom modelpath pretrainedmodelnameorpath ",
      "model.weights" },
    { " autorequeue slurmrequeue requeueonsignal ", "train.requeue" },
    { " resumefrom resumefromcheckpoint resumecheckpoint ", "train.resume (or --resume)" },
    { " csv csvfile csvpath dataset datasetpath datadir datapath dataroot root datafile traincsv "
      "annotations annotationfile splitfile slidescsv manifestpath datalist ",
      "data.manifest" },
    { " validcsv valcsv testcsv valsplit validationsplit valfraction trainsplit splits ",
      "data.manifest (its column split says train, validation or test)" },
    { " patchsize tilesize imgsize imagesize inputsize cropsize roisize inputshape patch tilewidth "
      "targetsize imageheight imagewidth size resize ",
      "data.window" },
    { " level pyramidlevel readlevel ", "data.levels" },
    { " magnification magnifications objective objectivepower scale scales targetmpp patchmpp "
      "umperpixel umpx micrometres ",
      "data.um_per_px (20x is about 0.5) or data.levels" },
    { " overlap stepsizepx patchstride tilestride ", "data.stride" },
    { " microns micronsperpixel resolution pixelsize spacing mppx slidempp ",
      "data.um_per_px (what towers see) or data.mpp (what slides are)" },
    { " packs packdir packpath cachedir patchesdir tilesdir ", "data.pack" },
    { " negratio negativeratio normalratio classratio ", "data.normals_per_tumor" },
    { " maxpatches maxtiles patchesperslide tilesperslide ", "data.max_normal or data.max_tumor" },
    { " labelmap classmap labelmapping classmapping groups classification ", "data.labels" },
    { " shuffle sampler balanced weightedsampler ", "data.sampling" },
    { " tissuethreshold ", "data.tissue.threshold" },
    { " mintissue tissuefraction tissueratio ", "data.tissue.min_normal" },
    { " hflip vflip horizontalflip verticalflip randomflip randomhorizontalflip mirror ",
      "augment.flip" },
    { " rotation rotate90 rotationrange randomrotate randomrotation randrotate90 ",
      "augment.rotate" },
    { " colorjitter jitter coloraug colourjitter ",
      "augment.brightness, augment.saturation, augment.hue and augment.contrast" },
    { " stain stainaug stainaugmentation hedaug hedaugmentation hedjitter hedlight hedstrong ",
      "augment.hed" },
    { " augmentation augmentations transforms transform aug ", "augment" },
    { " droprate drop dropoutrate pdropout ", "model.dropout" },
    { " freezelayers freezebackbone frozen frozenlayers trainable finetune unfreeze freezeuntil ",
      "model.freeze" },
    { " hidden hiddensizes hiddenunits hiddendim dense denseunits fc heads mlp classifier layers ",
      "model.head" },
    { " bnmomentum normmomentum ",
      "model.batch_norm_momentum (weight of the old value: PyTorch's 0.1 is 0.9)" },
    { " bn norm freezebn bnfrozen ", "model.batch_norm" },
    { " syncbn syncbatchnorm syncbatch bnsync syncbnorm convertsyncbatchnorm ",
      "model.batch_norm_sync" },
    { " randomseed manualseed randomstate rng globalseed seedeverything ", "seed" },
    { " experiment experimentname expname exp runname jobname tag project taskname ", "name" },
    { " outputdir outdir output logdir savedir workdir defaultrootdir rundir checkpointdir logs "
      "saveto resultsdir runs savepath ",
      "train.run" },
    { " savetopk keepcheckpoints savetotallimit maxtokeep ", "train.keep" },
    { " everyntrainsteps savesteps savefreq saveevery saveinterval checkpointevery ",
      "train.checkpoint_steps" },
    { " gpu gpus devices gpuid gpuids cudadevice localrank cudavisibledevices ", "compute.device" },
    { " accelerator cuda usecuda usegpu deviceplatform ", "compute.backend" },
    { " amp fp16 bf16 half mixedprecision dtype useamp autocast ", "compute.precision" },
    { " nthreads numthreads njobs nproc cpus numcpus ompnumthreads ", "compute.threads" },
    { " cudnnbenchmark benchmark ", "compute.autotune" },
    { " training trainer hyperparameters hparams hyperparams fit ", "train" },
    { " datamodule dataloader input loader ", "data" },
    { " network net backbone arch architecture modelname encoder basemodel ",
      "The network is always InceptionV3; see the section model" },
    { " numclasses classes nclasses classnames ",
      "There are always two classes, normal and tumor" },
    { " emadecay modelema modelemadecay swa averagedecay weightaveraging useema ", "train.ema" },
    { " smoothing labelsmooth smooth ", "train.label_smoothing" },
    { " classweight posweight lossweights weightperclass ", "train.class_weights" },
    { " loss criterion lossfn ", "The loss is always binary cross entropy" },
    { " gradclip clipgrad gradientclipval maxgradnorm clipnorm ", "Gradients are not clipped" },
    { " accumulategradbatches gradaccum gradientaccumulationsteps ",
      "train.batch is all that a step sees, in train.shards passes whose gradients are added up" },
    { " mean std normalize normalization pixelmean pixelstd ",
      "Pixels are always scaled to [-1, 1], as InceptionV3 expects them" },
    { " defaults hydra target ", "Hydra's own keys have no meaning here; one file holds all keys" },
    { " << ", "Merge keys are not supported; write the values out" },
};

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* Lower case, letters and digits alone ("<<" stays as it is). */
static void squeeze(const char *text, char word[WORD_MAX])
{
    size_t length = 0;
    for (; *text && length < WORD_MAX - 1; text++)
        if (isalnum((unsigned char)*text) || *text == '<')
            word[length++] = (char)tolower((unsigned char)*text);
    word[length] = '\0';
}

static bool same_word(const char *a, const char *b)
{
    char one[WORD_MAX], other[WORD_MAX];
    squeeze(a, one);
    squeeze(b, other);
    return *one && strcmp(one, other) == 0;
}

static void did_you_mean(const char *what, char suggestion[SUGGESTION_MAX])
{
    snprintf(suggestion, SUGGESTION_MAX, "did you mean %.200s?", what);
}

/* Whether `name` begins with the section `top`; every name does with NULL. */
static bool is_within(const char *name, const char *top)
{
    return !top || (strncmp(name, top, strlen(top)) == 0 && name[strlen(top)] == '.');
}

/* The keys and sections whose last part is the word, in the section `top` or, if that is NULL,
 * anywhere: "a, b or c". False if there is none. */
static bool find_namesakes(const char *word, const char *top, char list[SUGGESTION_MAX])
{
    char found[3][WORD_MAX];
    int count = 0;
    for (int i = 0; i < config_key_count; i++) {
        const char *key = config_keys[i].name;
        size_t length = 0; /* of the key's first part, its first two … */
        do {
            char name[WORD_MAX];
            length += strcspn(key + length, ".");
            snprintf(name, sizeof name, "%.*s", (int)length, key);
            const bool again = count && strcmp(found[count - 1], name) == 0;
            if (!again && count < 3 && is_within(name, top) && same_word(last_part(name), word))
                memcpy(found[count++], name, sizeof name);
        } while (key[length++]);
    }
    *list = '\0';
    for (int i = 0; i < count; i++) {
        const size_t used = strlen(list);
        const char *between = i == 0 ? "" : i + 1 == count ? " or " : ", ";
        snprintf(list + used, SUGGESTION_MAX - used, "%s%s", between, found[i]);
    }
    return count > 0;
}

static bool suggest_synonym(const char *word, char suggestion[SUGGESTION_MAX])
{
    char squeezed[WORD_MAX], spaced[WORD_MAX + 2];
    squeeze(word, squeezed);
    snprintf(spaced, sizeof spaced, " %s ", squeezed);
    for (size_t i = 0; *squeezed && i < COUNT_OF(synonyms); i++) {
        const char *meant = synonyms[i].meant;
        if (!strstr(synonyms[i].words, spaced)) continue;
        if (isupper((unsigned char)*meant))
            snprintf(suggestion, SUGGESTION_MAX, "%c%s", tolower((unsigned char)*meant), meant + 1);
        else
            did_you_mean(meant, suggestion);
        return true;
    }
    return false;
}

/* The most similar name in the same section. */
static struct text_nearest suggest_neighbour(const char *name)
{
    const size_t section = (size_t)(last_part(name) - name);
    struct text_nearest nearest = text_nearest_init(last_part(name));
    for (int i = 0; i < config_key_count; i++) {
        const char *key = config_keys[i].name;
        if (strncmp(key, name, section) != 0) continue;
        char child[NEAREST_MAX]; /* the key, or its subsection at the level of `name` */
        const size_t length = section + strcspn(key + section, ".");
        snprintf(child, sizeof(child), "%.*s", (int)length, key);
        const int distance = text_distance(nearest.word, child + section);
        if (distance >= nearest.distance) continue;
        nearest.distance = distance;
        memcpy(nearest.best, child, sizeof(child));
    }
    return nearest;
}

/* A key in another section whose last part is nearly that of `name`. */
static struct text_nearest suggest_elsewhere(const char *name)
{
    struct text_nearest nearest = { .word = name, .distance = WORD_MAX };
    for (int i = 0; i < config_key_count; i++)
        if (text_distance(last_part(name), last_part(config_keys[i].name)) <= 1)
            text_nearest_offer(&nearest, config_keys[i].name);
    return nearest;
}

void config_suggest(const char *name, char suggestion[SUGGESTION_MAX])
{
    const char *word = last_part(name);
    char top[WORD_MAX], list[SUGGESTION_MAX];
    snprintf(top, sizeof top, "%.*s", (int)strcspn(name, "."), name);
    *suggestion = '\0';
    if (strchr(name, '.') && suggest_synonym(name, suggestion)) return; /* model.name */
    if ((strchr(name, '.') && find_namesakes(word, top, list)) ||
        find_namesakes(word, NULL, list)) {
        did_you_mean(list, suggestion);
        return;
    }
    if (suggest_synonym(word, suggestion)) return;
    struct text_nearest nearest = suggest_neighbour(name);
    if (!nearest.best[0]) nearest = suggest_elsewhere(name);
    if (nearest.best[0]) did_you_mean(nearest.best, suggestion);
}
